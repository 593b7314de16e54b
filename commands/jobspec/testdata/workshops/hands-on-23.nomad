config {  
  image = "hashicorp/http-echo:x.y.z"  
  args  = [  
    "-listen", ":${NOMAD_PORT_http}",  
    "-text", "hello world",  
  ]  
}  
  
resources {  
  network {  
    mbits = 10  
    port "http" {}  
  }  
}
