job "job" {
  group "group" {
    task "task" {
      artifact {
        source      = "https://example.com/file.tar.gz"
        destination = "/tmp"
      }
    }
  }
}
