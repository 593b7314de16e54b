job "job" {
  group "group" {
    task "task" {
      template {
        data = <<EOH
        bind_port: {{ env "NOMAD_PORT_db" }}
        service_id: {{ key "service/my-key" }}
        EOH
        destination = "local/foo"
      }
    }
  }
}
