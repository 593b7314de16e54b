job "example" {  
  # ...  
  
  # Configure the job to do rolling updates  
  update {  
    # Stagger updates every 10 seconds  
    stagger = "10s"  
  
    # Update a single task at a time  
    max_parallel = 1  
  }  
  
  # ...  
}
