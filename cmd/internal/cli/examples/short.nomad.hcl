job "example" {
  group "web" {
    network {
      port "http" {}
    }

    task "server" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "echo \"port ${NOMAD_PORT_http}\"; exec sleep 1000000"]
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
