# A job file: one job, made of groups, made of tasks. Check it, then run it:
#
#   drover job validate example.nomad.hcl
#   drover job run example.nomad.hcl

# What a file leaves open is set when it is run: drover job run -var count=2 example.nomad.hcl
variable "count" {
  description = "how many instances of the group run"
  type        = number
  default     = 1
}

job "example" {
  # A "service" runs until it is stopped. A "batch" job ends by itself.
  type = "service"

  # Where it may run; "*" stands for any characters. The default is everywhere.
  datacenters = ["*"]

  # 1 to 100. When room is short, higher ones are placed first.
  # priority = 50

  # Only on nodes that are like this. "drover node status -verbose <id>" lists a node's attributes.
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  # What you like to have; tasks see it as NOMAD_META_owner.
  # meta {
  #   owner = "team-x"
  # }

  # The tasks of a group run together on one node, and share a directory and ports.
  group "web" {
    count = var.count

    # No two instances on one node:
    # constraint {
    #   distinct_hosts = true
    # }

    network {
      # A free port of the node, in NOMAD_PORT_http.
      port "http" {}

      # Always this one; then there can be one instance per node.
      # port "admin" {
      #   static = 8081
      # }
    }

    # A task that ends is started again on its node: so often within the interval. Then the group has failed.
    restart {
      attempts = 2
      interval = "30m"
      delay    = "15s"
      mode     = "fail"
    }

    # The disk that the tasks share, in MB, their logs included.
    ephemeral_disk {
      size = 300
    }

    task "server" {
      # What runs it. raw_exec runs a program as it is, with no wall around it; others isolate.
      driver = "raw_exec"

      # For the driver. Values in ${ } are filled in on the node.
      config {
        command = "/bin/sh"
        args    = ["-c", "echo \"port ${NOMAD_PORT_http}: $GREETING\"; exec sleep 1000000"]
      }

      env {
        GREETING = "hello from ${node.unique.name}"
      }

      # How it is asked to end, and how long it has before it is killed.
      # kill_signal  = "SIGTERM"
      # kill_timeout = "10s"

      # Its share of the node, in MHz and MB.
      resources {
        cpu    = 100
        memory = 64
      }

      # What it writes: "drover alloc logs -f <alloc>". Files are kept up to this number and size, in MB.
      logs {
        max_files     = 3
        max_file_size = 5
      }
    }
  }
}
