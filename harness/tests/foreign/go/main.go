// A plain net/http server as many are written: on SIGTERM it calls Shutdown at once, which closes
// the listener while other nodes still send new connections.
package main

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// address is that of a pod on `local`, else any on port 8080.
func address() string {
	if port, ok := os.LookupEnv("PORT"); ok {
		return net.JoinHostPort(os.Getenv("HOST"), port)
	}
	return ":8080"
}

func main() {
	server := &http.Server{
		Addr: address(),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Millisecond)
			w.Write([]byte("go\n"))
		}),
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.Background(), 25*time.Second)
		defer cancel()
		ended <- server.Shutdown(limit)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
}
