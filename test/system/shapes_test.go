//go:build system

package system

import "testing"

// scenario is one on a deployment where others ran before.
type scenario struct {
	name string
	run  func(*deployment)
}

// scenarios are all of them, in their order: the last ones look at what all did.
func scenarios() []scenario {
	return []scenario{
		{"main_job", mainJob},
		{"replay", replay},
		{"catalogue", catalogue},
		{"hostile_uploads", hostileUploads},
		{"streams_flow", streamsFlow},
		{"accounts", accounts},
		{"market", market},
		{"deleted_account", deletedAccount},
		{"fencing", fencing},
		{"fallback", fallback},
		{"prioritise", prioritise},
		{"one_owner_of_data", oneOwnerOfData},
		{"restart", restart},
		{"crash", crash},
		{"every_rpc", everyRPC},
		{"quiet_log", quietLog},
	}
}

// TestShapes runs every scenario in both shapes, one after the other on one deployment
// each: they own accounts and tracks of their own.
func TestShapes(t *testing.T) {
	eachShape(t, func(d *deployment) {
		d.login()
		for _, s := range scenarios() {
			d.scenario(s.name, s.run)
		}
	}, "-upload.watch={dir}/watched", "-upload.workers=1", "-upload.settle=100ms")
}
