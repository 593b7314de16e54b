group "echo" {  
  count = "5"  
  
  task "server" {  
    driver = "docker"  
  
    config {  
      image = "hashicorp/http-echo:x.y.z"  
      args = [  
        "-listen", ":80",  
        "-text", "smiling banana",  
      ]  
    }  
  
    # ...  
  }  
}
