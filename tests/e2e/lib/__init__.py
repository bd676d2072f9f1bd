"""What the end-to-end tests are made of: processes, media, and an RTMP client of their own."""
