job "example" {  
  # Run the job in the global region, which is the default.  
  # region = "global"  
  
  # ...  
}
