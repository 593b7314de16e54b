# A small web server, with variables and constraints. It needs busybox on the node.
#
#   drover job run -var count=3 -var 'datacenters=["dc1","dc2"]' web.nomad.hcl

variable "count" {
  type    = number
  default = 1

  validation {
    condition     = var.count > 0 && var.count <= 20
    error_message = "The count must be between 1 and 20."
  }
}

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "greeting" {
  description = "what the server answers"
  default     = "it works"
}

locals {
  page = "<h1>${title(var.greeting)}</h1>"
}

job "web" {
  datacenters = var.datacenters

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  group "servers" {
    count = var.count

    constraint {
      distinct_hosts = var.count <= 3
    }

    network {
      port "http" {
        to = -1
      }
    }

    restart {
      attempts = 3
      interval = "10m"
      delay    = "5s"
      mode     = "delay"
    }

    task "serve" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args = ["-c", <<-EOT
          mkdir -p "$NOMAD_TASK_DIR/www"
          echo "$PAGE" > "$NOMAD_TASK_DIR/www/index.html"
          exec busybox httpd -f -p "$NOMAD_PORT_http" -h "$NOMAD_TASK_DIR/www"
          EOT
        ]
      }

      env {
        PAGE = local.page
      }

      kill_timeout = "10s"
      kill_signal  = "SIGTERM"

      logs {
        max_files     = 2
        max_file_size = 5
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
