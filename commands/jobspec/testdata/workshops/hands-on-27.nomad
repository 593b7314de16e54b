tags = [  
  "testing-iguana",  
  "urlprefix-/http-echo",  
  "urlprefix-/my-path",  
]
