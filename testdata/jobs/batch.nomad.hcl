# A batch job: it counts to five, ends with exit code 0 and is complete.
job "count" {
  type = "batch"

  group "counters" {
    count = 3

    task "count" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "for i in 1 2 3 4 5; do echo $NOMAD_ALLOC_INDEX: $i; sleep 1; done"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
