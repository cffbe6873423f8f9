package gateway

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	chartsv1 "github.com/segue-music/segue/gen/segue/charts/v1"
	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

// method is what the gateway knows of an RPC. The service decides again by the same
// option; knowing it here keeps strangers from costing a service anything.
type method struct {
	anonymous bool
	roles     []authv1.Role
	stream    bool
}

// contracts are the files whose methods may be reached from outside.
func contracts() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		userv1.File_segue_user_v1_user_proto,
		userv1.File_segue_user_v1_keyring_proto,
		metadatav1.File_segue_metadata_v1_service_proto,
		uploadv1.File_segue_upload_v1_upload_proto,
		playbackv1.File_segue_playback_v1_playback_proto,
		collectv1.File_segue_collect_v1_collect_proto,
		warehousev1.File_segue_warehouse_v1_warehouse_proto,
		chartsv1.File_segue_charts_v1_charts_proto,
	}
}

// publicMethods are the methods that are open to anyone or to a role, by procedure.
// Methods for services only are missing: from outside there is no such thing.
func publicMethods() map[string]method {
	all := map[string]method{}
	for _, file := range contracts() {
		services := file.Services()
		for i := range services.Len() {
			methods := services.Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				access, _ := proto.GetExtension(m.Options(), authv1.E_Access).(*authv1.Access)
				if !access.GetAnonymous() && len(access.GetRoles()) == 0 {
					continue
				}
				all["/"+string(services.Get(i).FullName())+"/"+string(m.Name())] = method{
					anonymous: access.GetAnonymous(), roles: access.GetRoles(), stream: m.IsStreamingServer() || m.IsStreamingClient(),
				}
			}
		}
	}
	return all
}
