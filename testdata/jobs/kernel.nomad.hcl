# No node has this kernel: the constraint filters every one of them, and the evaluation ends blocked.
job "kernel" {
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "plan9"
  }

  group "nowhere" {
    task "sleep" {
      driver = "raw_exec"

      config {
        command = "/bin/sleep"
        args    = ["3600"]
      }
    }
  }
}
