# Where images are, and what of them each kind of node boots.

# Machines fetch from S3 themselves, by URLs that are signed when they ask for their boot script. What opens the bucket is in the
# server's configuration: s3 "images" { endpoint = ..., access_key_file = ..., secret_key_file = ... }
store "boot_images" {
  s3 {
    endpoint = var.s3
    region   = "default" # as Ceph's gateway calls its own
    bucket   = "boot-images"
  }
  deliver = "presign"
  presign {
    ttl = "15m"
  }
}

# An image is a folder of the bucket, named by the id that the image service gave it.
image "compute" {
  version = "29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975"
  arch    = "x86_64"

  file "kernel" {
    store = store.boot_images
    key   = "29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/kernel"
  }
  file "initrd" {
    store = store.boot_images
    key   = "29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/initrd"
  }
  file "rootfs" { # for the initrd, which finds it by its name in S3 and its etag
    store = store.boot_images
    key   = "29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/rootfs"
  }
  kernel_args = {
    root = "craycps-s3:${s3uri("rootfs")}:${etag("rootfs")}:dvs:api-gw-service-nmn.local:300:eth0"
  }
}

# What a node boots when its image cannot be had.
image "rescue" {
  version = "3"
  arch    = "x86_64"

  file "kernel" {
    store = store.boot_images
    key   = "rescue/kernel"
  }
  file "initrd" {
    store = store.boot_images
    key   = "rescue/initrd"
  }
}
