# A container with a port. Nodes need Docker.

job "example" {
  group "cache" {
    network {
      # A free port of the node that leads to port 6379 inside the container.
      port "redis" {
        to = 6379
      }
    }

    task "redis" {
      driver = "docker"

      config {
        image = "redis:7"
        ports = ["redis"]
      }

      resources {
        cpu    = 500
        memory = 256
      }
    }
  }
}
