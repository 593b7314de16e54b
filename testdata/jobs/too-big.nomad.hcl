# No machine has this much memory: the evaluation ends blocked, and says that memory is exhausted on every node.
job "too-big" {
  group "giant" {
    task "sleep" {
      driver = "raw_exec"

      config {
        command = "/bin/sleep"
        args    = ["3600"]
      }

      resources {
        cpu    = 100
        memory = 100000000
      }
    }
  }
}
