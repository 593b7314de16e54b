config {  
  image = "hashicorp/http-echo:x.y.z"  
  args  = [  
    "-listen", ":80",  
    "-text", "hello world",  
  ]  
}
