resources {
    cpu = 500 # 500 Mhz
    memory = 256 # 256MB
    network {
        mbits = 10
        port "db" {
      static = 3306
        }
    }
}
