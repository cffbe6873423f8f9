package overload

// Importance says who is served first when not all can be (DAGOR: Zhou et al., Overload
// control for scaling WeChat microservices, SoCC 2018). Health is not asked.
type Importance uint8

// The importances.
const (
	Background Importance = iota // events and uploads come again, pictures can wait
	Ordinary
	Urgent // what a sound that starts or plays depends on
)

// String is the importance in figures.
func (i Importance) String() string { return [...]string{"background", "ordinary", "urgent"}[i] }

// Share is the part of a limit that requests of an importance may use.
func (i Importance) Share(limit int) int {
	switch i {
	case Background:
		return max(1, limit/2)
	case Ordinary:
		return max(1, limit*7/8)
	case Urgent:
	}
	return limit
}

// Header marks an answer of who was too busy to look at the request.
const Header = "Segue-Shed"
