job "http-echo-anaconda" {  
  
    service {  
        name = "http-echo"  
        port = "http"  
  
        tags = [  
            "testing-iguana",  
            "urlprefix-/http-echo",  
        ]  
  
        check {  
            type      = "http"  
            path      = "/health"  
            interval  = "10s"  
            timeout   = "5s"  
        }  
    }  
}
