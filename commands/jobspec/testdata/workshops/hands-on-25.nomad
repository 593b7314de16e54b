job "http-echo-${identity}" {  
  group "echo" {  
    task "server" {  
  
      # ...  
  
      resources {  
        memory = 50000 # 50GB of RAM  
  
        network {  
          mbits = 10  
          port "http" {}  
        }  
      }  
  
      # ...  
    }  
  }  
}
