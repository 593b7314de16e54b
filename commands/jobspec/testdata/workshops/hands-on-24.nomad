job "http-echo-anaconda" {  
  #...  
  
  constraint {  
    attribute = "${attr.kernel.name}"  
    value      = "linux"  
  }  
  
  group "echo" {  
    #...  
  }  
}
