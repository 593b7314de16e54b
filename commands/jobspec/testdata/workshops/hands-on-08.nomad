job "example" {  
  # ...  
  
  group "cache" {  
    # ...  
    restart {  
      # ...  
    }  
  
    # Define a task to run  
    task "redis" {  
      # ...  
    }  
  }  
}
