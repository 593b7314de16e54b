# A job of two groups that reach one another through Consul's service mesh: an API and a dashboard that asks it.
#
# This version of Drover reads, checks and keeps all of it, but has no proxies and no bridge networks, so that nothing of it
# is placed: "drover job validate" and "drover job run" say so.

job "countdash" {
  datacenters = ["*"]

  group "api" {
    # The proxies are reached in the group's own network.
    network {
      mode = "bridge"
    }

    # A service of the group, for the mesh. Others reach it through their proxies only.
    service {
      name = "count-api"
      port = "9001"

      connect {
        sidecar_service {}
      }
    }

    task "web" {
      driver = "docker"

      config {
        image          = "hashicorpdev/counter-api:v3"
        auth_soft_fail = true
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }

  group "dashboard" {
    network {
      mode = "bridge"

      # This one is for people: port 9002 of the node leads to it.
      port "http" {
        static = 9002
        to     = 9002
      }
    }

    service {
      name = "count-dashboard"
      port = "http"

      connect {
        sidecar_service {
          proxy {
            # What asks 127.0.0.1:8080 in this group gets the service "count-api".
            upstreams {
              destination_name = "count-api"
              local_bind_port  = 8080
            }
          }
        }

        # The proxy's own share of the node:
        # sidecar_task {
        #   resources {
        #     cpu    = 250
        #     memory = 128
        #   }
        # }
      }
    }

    task "dashboard" {
      driver = "docker"

      env {
        COUNTING_SERVICE_URL = "http://${NOMAD_UPSTREAM_ADDR_count_api}"
      }

      config {
        image          = "hashicorpdev/counter-dashboard:v3"
        auth_soft_fail = true
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
