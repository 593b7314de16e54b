job "http-echo-anaconda" {  
  
    # Add an update stanza to enable rolling updates of the service  
    update {  
        max_parallel = 1  
        min_healthy_time = "30s"  
        healthy_deadline = "10m"  
    }  
  
    ...  
}
