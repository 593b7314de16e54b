job "example" {  
  # ...  
  
  # Service type jobs optimize for long-lived services. This is  
  # the default but we can change to batch for short-lived tasks.  
  # type = "service"  
  
  # ...  
}
