job "http-echo-anaconda" {  
  
    # Add an update stanza to enable rolling updates of the service  
    update {  
        max_parallel = X  
        min_healthy_time = "Xs"  
    }  
  
    .....  
}
