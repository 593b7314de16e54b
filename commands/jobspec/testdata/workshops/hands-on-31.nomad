job "job" {
  group "group" {
    task "task" {
      artifact {
        source      = "https://example.com/file.tpl"
        destination = "local/"
      }

      template {
        source      = "local/file.tpl"
        destination = "local/file.yml"
      }
    }
  }
}
