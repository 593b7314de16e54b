# A service of two allocations. Each prints who and where it is, once a second.
job "hello" {
  type = "service"

  group "greeters" {
    count = 2

    network {
      port "http" {}
    }

    task "greet" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        # Plain $NAME is the shell's; with braces it would be looked up before the shell starts.
        args = ["-c", <<-EOT
          while true; do
            echo "hello from $NOMAD_ALLOC_NAME ($NOMAD_SHORT_ALLOC_ID), port $NOMAD_PORT_http, node $NODE_NAME"
            sleep 1
          done
          EOT
        ]
      }

      env {
        NODE_NAME = "${node.unique.name}"
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
