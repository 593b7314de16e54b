job "example" {  
  # ...  
  group "cache" {  
    # ...  
    task "redis" {  
      # We must specify the resources required for  
      # this task to ensure it runs on a machine with  
      # enough capacity.  
      resources {  
        cpu      = 500 # 500 MHz  
        memory = 256 # 256MB  
        network {  
          mbits = 10  
          port "db" {}  
        }  
      }  
    }  
  }  
}
