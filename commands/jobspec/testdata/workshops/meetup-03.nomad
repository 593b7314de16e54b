constraint {
  attribute = "$node.datacenter"
  value = "dc1"
}
