# A job that ends by itself: each instance works once, and is tried again when it fails.

job "example" {
  type = "batch"

  group "work" {
    count = 3

    # Up to 3 tries on the same node within a day.
    restart {
      attempts = 3
      interval = "24h"
      delay    = "15s"
      mode     = "fail"
    }

    task "part" {
      driver = "raw_exec"

      # NOMAD_ALLOC_INDEX tells the instances apart: 0, 1, 2.
      config {
        command = "/bin/sh"
        args    = ["-c", "echo \"part $NOMAD_ALLOC_INDEX is done\""]
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
