package meter

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Labels are options for every kind of instrument.
type Labels interface {
	metric.AddOption
	metric.RecordOption
	metric.ObserveOption
}

// Label is one label.
func Label(key, value string) Labels { return metric.WithAttributes(attribute.String(key, value)) }

// Enum is an enum's value as metrics have it: BOOT_STAGE_IPXE with the prefix BOOT_STAGE_ is ipxe.
func Enum(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }
