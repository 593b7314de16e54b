service {  
  name = "http-echo"  
  port = "http"  
  
  tags = [  
    "anaconda",  
    "urlprefix-/http-echo",  
  ]  
  
  check {  
    type      = "http"  
    path      = "/health"  
    interval  = "10s"  
    timeout   = "5s"  
  }  
}
