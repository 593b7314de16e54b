job "http-echo-anaconda" {  
  
  update {  
    max_parallel      = 1  
    canary            = 5  
    min_healthy_time  = "30s"  
    healthy_deadline  = "10m"  
    auto_revert       = true  
  }  
  
  ...  
}
