package samples

import (
	"reflect"

	"github.com/rebound-mqtt/rebound/reports"
)

// Nasty is text from outside that would break out of a page that forgot to
// escape it, in any place.
const Nasty = `</script></style></title></text><script>document.documentElement.dataset.hacked=1</script><img src=x onerror="document.documentElement.dataset.hacked=2">'"` + "`{{.}}\\u003c]]>\x00\x1b[31m\u202e\nline two&amp;-->"

// Hostile is a report in which every text is Nasty, but those that a histogram
// is decoded by.
func Hostile() (*reports.Report, error) {
	r, err := Storm(Size{Clients: 40, Waves: 2, Censored: 4})
	if err != nil {
		return nil, err
	}
	histograms := r.Histograms
	r.Histograms = nil
	poison(reflect.ValueOf(r).Elem())
	r.Histograms = histograms
	return r, nil
}

// poison sets every string below v.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(Nasty)
	case reflect.Pointer:
		if !v.IsNil() {
			poison(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				poison(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i))
		}
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		for _, k := range v.MapKeys() {
			key, value := reflect.New(k.Type()).Elem(), reflect.New(v.Type().Elem()).Elem()
			key.Set(k)
			value.Set(v.MapIndex(k))
			poison(value)
			if v.Type().Elem().Kind() == reflect.String {
				poison(key)
			}
			m.SetMapIndex(key, value)
		}
		v.Set(m)
	}
}
