# A task that fails every time. It is started three times, two seconds apart; then its allocation has failed.
job "failing" {
  group "unlucky" {
    restart {
      attempts = 2
      interval = "1m"
      delay    = "2s"
      mode     = "fail"
    }

    task "fail" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "echo this cannot go well; exit 3"]
      }

      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
