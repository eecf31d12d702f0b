package caddyapikey

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// unmarshalAnomaly reads the option's block.
func (a *App) unmarshalAnomaly(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("anomaly takes no argument, but got %q; write what is unusual in a block", d.Val())
	}
	a.Anomaly = new(Anomaly)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch option := d.Val(); option {
		case "addresses":
			err = a.Anomaly.unmarshalAddresses(d)
		case "surge":
			err = a.Anomaly.unmarshalSurge(d)
		case "suspend":
			if d.NextArg() {
				return d.Errf("anomaly suspend takes no argument, but got %q", d.Val())
			}
			a.Anomaly.Suspend = true
		default:
			return d.Errf("anomaly: unknown line %q: write addresses, surge or suspend", option)
		}
		if err != nil {
			return err
		}
	}
	checked := *a.Anomaly
	if checked.Surge != nil {
		surge := *checked.Surge // with a default, which the adapted configuration leaves out
		checked.Surge = &surge
	}
	if err := checked.validate(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (a *Anomaly) unmarshalAddresses(d *caddyfile.Dispenser) error {
	const form = "anomaly addresses: write how many in what time, such as `addresses 20 in 10m`"
	var limit, in, window string
	if !d.AllArgs(&limit, &in, &window) || in != "in" || a.Addresses != nil {
		return d.Err(form + ", once")
	}
	n, err := strconv.Atoi(limit)
	w, wrong := caddy.ParseDuration(window)
	if err != nil || wrong != nil {
		return d.Err(form)
	}
	a.Addresses = &AnomalyAddresses{Limit: n, Window: caddy.Duration(w)}
	return nil
}

func (a *Anomaly) unmarshalSurge(d *caddyfile.Dispenser) error {
	const form = "anomaly surge: write how many times the busiest hour of what time, such as `surge 10x over 7d min 1000`"
	args := d.RemainingArgs()
	if len(args) != 3 && len(args) != 5 || args[1] != "over" || len(args) == 5 && args[3] != "min" || a.Surge != nil {
		return d.Err(form + ", once")
	}
	factor, err := strconv.Atoi(strings.TrimSuffix(args[0], "x"))
	over, wrong := caddy.ParseDuration(args[2])
	if err != nil || wrong != nil {
		return d.Err(form)
	}
	a.Surge = &AnomalySurge{Factor: factor, Over: caddy.Duration(over)}
	if len(args) == 5 {
		if a.Surge.Min, err = strconv.ParseUint(args[4], 10, 63); err != nil || a.Surge.Min == 0 {
			return d.Errf("anomaly surge min: %q is not a number from 1 on", args[4])
		}
	}
	return nil
}
