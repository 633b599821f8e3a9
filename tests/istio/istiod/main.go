// Istio's own control plane on a folder of resources, without Kubernetes: for tests.
//
//	istiod --config FOLDER --mesh mesh.yaml    serves them to Envoys (ADS, plaintext), and every change of them
//
// The server is the one that istiod's `discovery` starts. That command reads its namespaces through a Kubernetes client
// whether or not there is one, and dies of it; here it has the client of an empty cluster.
package main

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"unsafe"

	"istio.io/istio/pilot/pkg/bootstrap"
	"istio.io/istio/pilot/pkg/config/kube/extensions"
	"istio.io/istio/pilot/pkg/config/kube/file"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/cmd"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/mesh/meshwatcher"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/multicluster"
	"istio.io/istio/pkg/log"
)

func main() {
	folder := flag.String("config", "", "folder of the resources to serve")
	meshFile := flag.String("mesh", "", "file of the mesh's configuration (MeshConfig)")
	grpc := flag.String("grpc", "127.0.0.1:0", "address for Envoys")
	http := flag.String("http", "127.0.0.1:0", "address of the debug pages")
	flag.Parse()
	if err := serve(*folder, *meshFile, *grpc, *http); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(folder, meshFile, grpc, http string) error {
	if err := log.Configure(log.DefaultOptions()); err != nil {
		return err
	}
	args := bootstrap.NewPilotArgs(func(args *bootstrap.PilotArgs) {
		args.Namespace = "istio-system"
		args.MeshConfigFile = meshFile
		args.RegistryOptions.KubeOptions.DomainSuffix = "cluster.local"
		args.ServerOptions.GRPCAddr, args.ServerOptions.HTTPAddr = grpc, http
		args.ServerOptions.MonitoringAddr = "127.0.0.1:0"
	})
	stop := make(chan struct{})
	files, err := file.NewController(folder, "cluster.local", collections.Pilot, args.RegistryOptions.KubeOptions)
	if err != nil {
		return err
	}
	server, err := bootstrap.NewServer(args, func(server *bootstrap.Server) {
		joinEmptyCluster(server, args, stop)
		// The second makes of WasmPlugins what the rest of istiod knows. The server itself only has it beside Kubernetes' resources.
		plugins := extensions.NewController(files, updates{server: server}, args.KrtDebugger)
		server.ConfigStores = append(server.ConfigStores, files, plugins)
	})
	if err != nil {
		return err
	}
	if err := server.Start(stop); err != nil {
		return err
	}
	cmd.WaitSignal(stop)
	return nil
}

// What has changed goes to the server's part for Envoys, which does not exist yet when the server is put together.
type updates struct {
	model.XDSUpdater
	server *bootstrap.Server
}

func (updates updates) ConfigUpdate(request *model.PushRequest) {
	if updates.server.XDSServer != nil {
		updates.server.XDSServer.ConfigUpdate(request)
	}
}

// Without a Kubernetes client the server leaves this field nil and uses it all the same (service entries ask it for the
// namespaces of every cluster). The field is private and nothing public sets it: hence reflection, and unsafe.
func joinEmptyCluster(server *bootstrap.Server, args *bootstrap.PilotArgs, stop chan struct{}) {
	client := kube.NewFakeClient()
	clusters := multicluster.NewController(multicluster.ControllerOptions{
		Client:          client,
		ClusterID:       "Kubernetes",
		SystemNamespace: args.Namespace,
		MeshConfig:      meshwatcher.NewTestWatcher(mesh.DefaultMeshConfig()),
		Debugger:        args.KrtDebugger,
	})
	field := reflect.ValueOf(server).Elem().FieldByName("multiclusterController")
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(reflect.ValueOf(clusters))
	if err := clusters.Run(stop); err != nil {
		log.Fatalf("no empty cluster: %v", err)
	}
	client.RunAndWait(stop)
}
