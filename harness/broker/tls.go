package broker

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

// openTimeout bounds the TLS and WebSocket handshakes together.
const openTimeout = 10 * time.Second

// LoadTLS reads a certificate chain and its key, both PEM, for servers of TLS
// 1.2 and later. Any error is ErrTLS.
func LoadTLS(certFile, keyFile string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("%w %s with key %s: %w", ErrTLS, certFile, keyFile, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// openTLS makes the handshake, so that a connection that comes to MQTT is a
// secure one.
func openTLS(c net.Conn, conf *tls.Config) (net.Conn, error) {
	secure := tls.Server(c, conf)
	if err := secure.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}
