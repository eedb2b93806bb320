package compat

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// TestTemporary closes a connection with temporary (STS) credentials, and not
// with the token of others.
func TestTemporary(t *testing.T) {
	s := startBroker(t, keyFlags(t)...)
	forEachClient(t, func(t *testing.T, v vendorClient) {
		c := tester{t, s, v, temporary}
		d := connect(t, s, c.id("temporary"))
		c.closeConnection(d.id)
		d.closedAndBack(t)
		for _, token := range []string{"another", ""} {
			c.key.Token = token
			f := v.fail(t, c.call("CloseConnection", map[string]any{"ClientId": d.id}))
			if f.Code != "CheckAccountInfoFailed" || f.Status != 400 || f.Type != v.errorType(f.Code) {
				t.Errorf("with token %q: %+v", token, f)
			}
		}
		d.untouched(t)
	})
}

// TestReplay sends good requests twice, of the clients in Go, whose requests
// can be seen: the second one is refused and changes nothing.
func TestReplay(t *testing.T) {
	s := startBroker(t, keyFlags(t)...)
	forEach(t, append(darabonbaClients(), sdkGoClients()...), func(t *testing.T, v vendorClient) {
		c := tester{t, s, v, limited}
		d := connect(t, s, c.id("replay"))
		request := c.call("CloseConnection", map[string]any{"ClientId": d.id})
		request.Replay = true
		f := v.fail(t, request)
		if f.Code != "SignatureNonceUsed" || f.Status != 400 || f.Type != v.errorType(f.Code) || f.Message == "" {
			t.Errorf("%+v", f)
		}
		d.closedAndBack(t) // by the first
		d.untouched(t)
	})
}

// TestUnsigned: an endpoint without keys takes any, as on loopback by default.
func TestUnsigned(t *testing.T) {
	s := startBroker(t)
	forEachClient(t, func(t *testing.T, v vendorClient) {
		c := tester{t, s, v, unknown}
		d := connect(t, s, c.id("unsigned"))
		c.closeConnection(d.id)
		d.closedAndBack(t)
	})
}

// TestTLS: the endpoint by HTTPS, which is what the clients want by default.
func TestTLS(t *testing.T) {
	cert, certKey := certificate(t)
	flags := append(keyFlags(t), "--endpoint-tls",
		"--tls-cert", writeFile(t, "cert.pem", cert), "--tls-key", writeFile(t, "key.pem", certKey))
	s := startTLSBroker(t, cert, flags...)
	forEachClient(t, func(t *testing.T, v vendorClient) {
		c := tester{t, s, v, limited}
		d := connect(t, s, c.id("tls"))
		c.closeConnection(d.id)
		d.closedAndBack(t)
		c.key = wrong
		if f := v.fail(t, c.call("CloseConnection", map[string]any{"ClientId": d.id})); f.Code != "SignatureDoesNotMatch" {
			t.Errorf("%+v", f)
		} else {
			checkEcho(t, v, f, wrong.Secret)
		}
		d.untouched(t)
	})
}

// certificate makes one of 127.0.0.1 that vouches for itself, as PEM.
func certificate(t *testing.T) (cert, certKey string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rebound compat"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", raw)
}
