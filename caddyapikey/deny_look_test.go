package caddyapikey

import "time"

func init() { denyLook = 20 * time.Millisecond }
