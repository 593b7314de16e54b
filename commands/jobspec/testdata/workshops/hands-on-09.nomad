job "example" {  
  # ...  
  group "cache" {  
    task "redis" {  
      # Use Docker to run the task.  
      driver = "docker"  
  
      # Configure Docker driver with the image  
      config {  
        image = "redis:latest"  
        port_map {  
          db = 6379  
        }  
      }  
    }  
  
    service {  
      name = "${TASKGROUP}-redis"  
      tags = ["global", "cache"]  
    }  
  }  
}
