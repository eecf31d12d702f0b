package caddyapikey

import "time"

// loop is something that is done again and again, in a goroutine of its own.
type loop struct{ stop, done chan struct{} }

// startLoop calls do at each tick, never twice at the same time.
func startLoop(tick time.Duration, do func()) loop {
	l := loop{stop: make(chan struct{}), done: make(chan struct{})}
	go l.run(tick, do)
	return l
}

func (l loop) run(tick time.Duration, do func()) {
	defer close(l.done)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.C:
			do()
		}
	}
}

// end returns once do runs no more. It is called once.
func (l loop) end() {
	close(l.stop)
	<-l.done
}
