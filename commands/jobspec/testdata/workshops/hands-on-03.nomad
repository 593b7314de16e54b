job "example" {  
  # ...  
  
  # Specify the datacenters within the region this job can run in.  
  datacenters = ["dc1"]  
  
  # ...  
}
