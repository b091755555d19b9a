package httpd

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// Requests as firmware and old loaders write them, byte by byte. None is answered by a redirect or by chunks, and each answer says how long
// it is.
func TestFirmwareRequests(t *testing.T) {
	srv := start(t, nil)
	kernel := "/files/" + string(digest(contents["vmlinuz-2"])) + "/vmlinuz"
	const file = "kernel two, which is longer"
	for _, tt := range []struct {
		why, request string
		status       string
		closes       bool // the server ends the connection
		body         string
	}{
		{"HTTP/1.0 without a Host, as gPXE and U-Boot", "GET " + kernel + " HTTP/1.0\r\n\r\n", "200 OK", true, file},
		{"HTTP/1.0 that keeps its connection", "GET " + kernel + " HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200 OK", false, file},
		{"EDK2's size probe", "HEAD " + kernel + " HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nUser-Agent: UefiHttpBoot/1.0\r\n\r\n", "200 OK", false, ""},
		{"the absolute form, through a proxy that is us", "GET http://127.0.0.1:8080" + kernel + " HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n", "200 OK", false, file},
		{"a prefix joined to a name with a slash too many", "GET /apis/bss/" + kernel + " HTTP/1.1\r\nHost: boot\r\n\r\n", "200 OK", false, file},
		{"slashes doubled everywhere", "GET " + strings.ReplaceAll(kernel, "/", "//") + " HTTP/1.1\r\nHost: boot\r\n\r\n", "200 OK", false, file},
		{"GRUB's range to the end", "GET " + kernel + " HTTP/1.1\r\nHost: boot\r\nRange: bytes=7-\r\n\r\n", "206 Partial Content", false, file[7:]},
		{"a query behind a file, which some BMCs add", "GET " + kernel + "?t=1 HTTP/1.1\r\nHost: boot\r\n\r\n", "200 OK", false, file},
		{"HTTP/1.1 without a Host, which nobody may send", "GET " + kernel + " HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header", true, "400 Bad Request: missing required Host header"},
		{"two lengths, as smugglers send them", "POST /phone-home HTTP/1.1\r\nHost: boot\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nboot", "400 Bad Request", true, "400 Bad Request"},
		{"headers without end", "GET " + kernel + " HTTP/1.1\r\nHost: boot\r\n" + strings.Repeat("X: "+strings.Repeat("x", 997)+"\r\n", 30) + "\r\n", "431 Request Header Fields Too Large", true, "431 Request Header Fields Too Large"},
		{"a request line without end", "GET /" + strings.Repeat("a", 30_000) + " HTTP/1.1\r\nHost: boot\r\n\r\n", "431 Request Header Fields Too Large", true, "431 Request Header Fields Too Large"},
	} {
		for range 2 { // on one connection, unless it ends
			conn := srv.dial(t, "127.0.0.1")
			n := 2
			if tt.closes {
				n = 1
			}
			for range n {
				if _, err := io.WriteString(conn, tt.request); err != nil {
					t.Fatal(err)
				}
				head, body := readAnswer(t, conn, strings.HasPrefix(tt.request, "HEAD "))
				status, _, _ := strings.Cut(head, "\r\n")
				if _, rest, _ := strings.Cut(status, " "); rest != tt.status || body != tt.body {
					t.Errorf("%s:\n%s\n%s", tt.why, head, body)
				}
				if length := fmt.Sprintf("\r\nContent-Length: %d\r\n", len(file)); tt.status == "200 OK" && !strings.Contains(head, length) || strings.Contains(head, "chunked") {
					t.Errorf("%s: no exact length:\n%s", tt.why, head)
				}
			}
			if tt.closes {
				if rest := expectEnd(t, conn); len(rest) > 0 {
					t.Errorf("%s: after the answer came %q", tt.why, rest)
				}
			}
		}
	}
}

// readAnswer reads a head, and a body by its length; one without a length ends with the connection.
func readAnswer(t *testing.T, conn io.Reader, bodyless bool) (head, body string) {
	t.Helper()
	b := make([]byte, 1)
	for !strings.HasSuffix(head, "\r\n\r\n") {
		if _, err := conn.Read(b); err != nil {
			t.Fatalf("%v after %q", err, head)
		}
		head += string(b)
	}
	_, length, found := strings.Cut(head, "Content-Length: ")
	n := 0
	if fmt.Sscan(length, &n); bodyless {
		return head, ""
	}
	if !found {
		rest, _ := io.ReadAll(conn)
		return head, string(rest)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(conn, text); err != nil {
		t.Fatal(err)
	}
	return head, string(text)
}
