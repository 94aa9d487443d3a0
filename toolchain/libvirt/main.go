// Command pulumi-resource-libvirt serves terraform-provider-libvirt to the Pulumi engine under
// the resource tokens that the pulumi-libvirt SDK uses.
package main

import (
	"context"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	pprovider "github.com/pulumi/pulumi/pkg/v3/resource/provider"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/cmdutil"
	rpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/emptypb"
)

// version is that of the pulumi-libvirt SDK, which the engine looks for, with a mark that this is another build: what
// follows the plus counts in no comparison (semver.org, 10). Raise its number with the plugin's behaviour.
const version = "0.5.4+kvm-lab.2"

func providerInfo() tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:       shimv2.NewProvider(lazyProvider()),
		Name:    "libvirt",
		Version: version,
	}
	info.Resources = map[string]*tfbridge.ResourceInfo{
		"libvirt_cloudinit_disk": {Tok: "libvirt:index/cloudInitDisk:CloudInitDisk"},
	}
	info.MustComputeTokens(tokens.SingleModule("libvirt_", "index", tokens.MakeStandard("libvirt")))
	info.SetAutonaming(255, "-")
	return info
}

// server is the bridge's provider, whose Cancel does nothing, with one that ends attempts and waits.
type server struct{ rpc.ResourceProviderServer }

func (s server) Cancel(ctx context.Context, e *emptypb.Empty) (*emptypb.Empty, error) {
	stop()
	return s.ResourceProviderServer.Cancel(ctx, e)
}

func main() {
	ctx, info := context.Background(), providerInfo()
	err := pprovider.Main("libvirt", func(h *pprovider.HostClient) (rpc.ResourceProviderServer, error) {
		return server{tfbridge.NewProvider(ctx, h, "libvirt", version, info.P, info, nil)}, nil
	})
	if err != nil {
		cmdutil.ExitError(err.Error())
	}
}
