package pull

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		value, date string
		want        time.Duration
	}{
		{"60", "", time.Minute}, {" 1 ", "", time.Second}, {"0", "", 0}, {"", "", 0}, {"-5", "", 0}, {"1.5", "", 0}, {"60s", "", 0}, {"soon", "", 0}, {"+5", "", 0}, {"0x10", "", 0},
		{strings.Repeat("9", 400), "", maxAsked}, {"31622401", "", maxAsked},
		{"Tue, 01 Dec 2026 12:01:00 GMT", "", time.Minute},
		{"Tuesday, 01-Dec-26 12:01:00 GMT", "", time.Minute}, // RFC 850
		{"Tue Dec  1 12:01:00 2026", "", time.Minute},        // asctime
		{"Tue, 01 Dec 2026 11:59:00 GMT", "", 0},
		{"Fri, 31 Dec 9999 23:59:59 GMT", "", maxAsked},
		{"Tue, 01 Dec 2026 12:01:00 GMT", "Tue, 01 Dec 2026 12:00:30 GMT", 30 * time.Second},
		{"Tue, 01 Dec 2026 12:01:00 GMT", "yesterday", time.Minute},
		{"Tue, 01 Dec 2026 12:01:00", "", 0},
	} {
		h := http.Header{"Retry-After": {tt.value}}
		if tt.date != "" {
			h.Set("Date", tt.date)
		}
		if got := retryAfter(h, now); got != tt.want {
			t.Errorf("%q at %q: got %s, want %s", tt.value, tt.date, got, tt.want)
		}
	}
	for status, want := range map[int]time.Duration{200: 0, 301: 0, 404: 0, 429: time.Minute, 500: time.Minute, 503: time.Minute} {
		if got := asks(&http.Response{StatusCode: status, Header: http.Header{"Retry-After": {"60"}}}, now); got != want {
			t.Errorf("%d: got %s, want %s", status, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("60", "")
	f.Add("Tue, 01 Dec 2026 12:01:00 GMT", "Tue, 01 Dec 2026 12:00:30 GMT")
	f.Fuzz(func(t *testing.T, value, date string) {
		got := retryAfter(http.Header{"Retry-After": {value}, "Date": {date}}, time.Unix(1796126400, 0))
		if got < 0 || got > maxAsked {
			t.Errorf("%q: %s", value, got)
		}
	})
}
