job "example" {  
  # ...  
  
  # Restrict our job to only linux. We can specify multiple  
  # constraints as needed.  
  # constraint {  
  #   attribute = "${attr.kernel.name}"  
  #   value      = "linux"  
  # }  
  
  # ...  
}
