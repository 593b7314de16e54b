package event

import "time"

// Service is an address that a group or task offers to others.
type Service struct {
	Name              string            `cbor:"1,keyasint,omitempty"`
	Tags              []string          `cbor:"2,keyasint,omitempty"`
	CanaryTags        []string          `cbor:"3,keyasint,omitempty"`
	EnableTagOverride bool              `cbor:"4,keyasint,omitempty"`
	PortLabel         string            `cbor:"5,keyasint,omitempty"`
	AddressMode       string            `cbor:"6,keyasint,omitempty"` // auto, host, alloc, alloc_ipv6 or driver
	Address           string            `cbor:"7,keyasint,omitempty"`
	Checks            []ServiceCheck    `cbor:"8,keyasint,omitempty"`
	CheckRestart      *CheckRestart     `cbor:"9,keyasint,omitempty"`
	Connect           *ConsulConnect    `cbor:"10,keyasint,omitempty"`
	Meta              map[string]string `cbor:"11,keyasint,omitempty"`
	CanaryMeta        map[string]string `cbor:"12,keyasint,omitempty"`
	TaggedAddresses   map[string]string `cbor:"13,keyasint,omitempty"`
	TaskName          string            `cbor:"14,keyasint,omitempty"`
	OnUpdate          string            `cbor:"15,keyasint,omitempty"`
	Identity          *WorkloadIdentity `cbor:"16,keyasint,omitempty"`
	Weights           *ServiceWeights   `cbor:"17,keyasint,omitempty"`
	Provider          string            `cbor:"18,keyasint,omitempty"` // consul or nomad
	Cluster           string            `cbor:"19,keyasint,omitempty"`
	Kind              string            `cbor:"20,keyasint,omitempty"`
}

// ServiceWeights weigh a service in DNS answers.
type ServiceWeights struct {
	Passing int `cbor:"1,keyasint,omitempty"`
	Warning int `cbor:"2,keyasint,omitempty"`
}

// ServiceCheck probes a service.
type ServiceCheck struct {
	Name                   string              `cbor:"1,keyasint,omitempty"`
	Type                   string              `cbor:"2,keyasint,omitempty"` // http, tcp, script or grpc
	Command                string              `cbor:"3,keyasint,omitempty"`
	Args                   []string            `cbor:"4,keyasint,omitempty"`
	Path                   string              `cbor:"5,keyasint,omitempty"`
	Protocol               string              `cbor:"6,keyasint,omitempty"`
	PortLabel              string              `cbor:"7,keyasint,omitempty"`
	Expose                 bool                `cbor:"8,keyasint,omitempty"`
	AddressMode            string              `cbor:"9,keyasint,omitempty"`
	Advertise              string              `cbor:"10,keyasint,omitempty"`
	Interval               time.Duration       `cbor:"11,keyasint,omitempty"`
	Timeout                time.Duration       `cbor:"12,keyasint,omitempty"`
	InitialStatus          string              `cbor:"13,keyasint,omitempty"`
	Notes                  string              `cbor:"14,keyasint,omitempty"`
	TLSServerName          string              `cbor:"15,keyasint,omitempty"`
	TLSSkipVerify          bool                `cbor:"16,keyasint,omitempty"`
	Header                 map[string][]string `cbor:"17,keyasint,omitempty"`
	Method                 string              `cbor:"18,keyasint,omitempty"`
	CheckRestart           *CheckRestart       `cbor:"19,keyasint,omitempty"`
	GRPCService            string              `cbor:"20,keyasint,omitempty"`
	GRPCUseTLS             bool                `cbor:"21,keyasint,omitempty"`
	TaskName               string              `cbor:"22,keyasint,omitempty"`
	SuccessBeforePassing   int                 `cbor:"23,keyasint,omitempty"`
	FailuresBeforeCritical int                 `cbor:"24,keyasint,omitempty"`
	FailuresBeforeWarning  int                 `cbor:"25,keyasint,omitempty"`
	Body                   string              `cbor:"26,keyasint,omitempty"`
	OnUpdate               string              `cbor:"27,keyasint,omitempty"`
}

// CheckRestart restarts a task whose check stays critical.
type CheckRestart struct {
	Limit          int           `cbor:"1,keyasint,omitempty"` // 0 is never
	Grace          time.Duration `cbor:"2,keyasint,omitempty"`
	IgnoreWarnings bool          `cbor:"3,keyasint,omitempty"`
}

// ConsulConnect puts a service into Consul's mesh.
type ConsulConnect struct {
	Native         bool                  `cbor:"1,keyasint,omitempty"`
	Gateway        *ConsulGateway        `cbor:"2,keyasint,omitempty"`
	SidecarService *ConsulSidecarService `cbor:"3,keyasint,omitempty"`
	SidecarTask    *SidecarTask          `cbor:"4,keyasint,omitempty"`
}

// ConsulGateway makes a service a gateway of the mesh.
type ConsulGateway struct {
	Proxy       *ConsulGatewayProxy           `cbor:"1,keyasint,omitempty"`
	Ingress     *ConsulIngressConfigEntry     `cbor:"2,keyasint,omitempty"`
	Terminating *ConsulTerminatingConfigEntry `cbor:"3,keyasint,omitempty"`
	Mesh        *ConsulMeshConfigEntry        `cbor:"4,keyasint,omitempty"`
}

// ConsulGatewayProxy configures a gateway's proxy.
type ConsulGatewayProxy struct {
	ConnectTimeout                  time.Duration                       `cbor:"1,keyasint,omitempty"`
	EnvoyGatewayBindTaggedAddresses bool                                `cbor:"2,keyasint,omitempty"`
	EnvoyGatewayBindAddresses       map[string]ConsulGatewayBindAddress `cbor:"3,keyasint,omitempty"`
	EnvoyGatewayNoDefaultBind       bool                                `cbor:"4,keyasint,omitempty"`
	EnvoyDNSDiscoveryType           string                              `cbor:"5,keyasint,omitempty"`
	Config                          map[string]any                      `cbor:"6,keyasint,omitempty"` // for the proxy alone
}

// ConsulGatewayBindAddress is where a gateway listens.
type ConsulGatewayBindAddress struct {
	Name    string `cbor:"1,keyasint,omitempty"`
	Address string `cbor:"2,keyasint,omitempty"`
	Port    int    `cbor:"3,keyasint,omitempty"`
}

// ConsulIngressConfigEntry is the configuration of an ingress gateway.
type ConsulIngressConfigEntry struct {
	TLS       *ConsulGatewayTLSConfig `cbor:"1,keyasint,omitempty"`
	Listeners []ConsulIngressListener `cbor:"2,keyasint,omitempty"`
}

// ConsulGatewayTLSConfig is the TLS part of a gateway.
type ConsulGatewayTLSConfig struct {
	Enabled       bool                       `cbor:"1,keyasint,omitempty"`
	TLSMinVersion string                     `cbor:"2,keyasint,omitempty"`
	TLSMaxVersion string                     `cbor:"3,keyasint,omitempty"`
	CipherSuites  []string                   `cbor:"4,keyasint,omitempty"`
	SDS           *ConsulGatewayTLSSDSConfig `cbor:"5,keyasint,omitempty"`
}

// ConsulGatewayTLSSDSConfig names a certificate held by a secret discovery service.
type ConsulGatewayTLSSDSConfig struct {
	ClusterName  string `cbor:"1,keyasint,omitempty"`
	CertResource string `cbor:"2,keyasint,omitempty"`
}

// ConsulIngressListener is one port of an ingress gateway.
type ConsulIngressListener struct {
	Port     int                    `cbor:"1,keyasint,omitempty"`
	Protocol string                 `cbor:"2,keyasint,omitempty"`
	Services []ConsulIngressService `cbor:"3,keyasint,omitempty"`
}

// ConsulIngressService is one service behind an ingress listener.
type ConsulIngressService struct {
	Name                  string                     `cbor:"1,keyasint,omitempty"`
	Hosts                 []string                   `cbor:"2,keyasint,omitempty"`
	TLS                   *ConsulGatewayTLSConfig    `cbor:"3,keyasint,omitempty"`
	RequestHeaders        *ConsulHTTPHeaderModifiers `cbor:"4,keyasint,omitempty"`
	ResponseHeaders       *ConsulHTTPHeaderModifiers `cbor:"5,keyasint,omitempty"`
	MaxConnections        *uint32                    `cbor:"6,keyasint,omitempty"`
	MaxPendingRequests    *uint32                    `cbor:"7,keyasint,omitempty"`
	MaxConcurrentRequests *uint32                    `cbor:"8,keyasint,omitempty"`
}

// ConsulHTTPHeaderModifiers change the headers of requests or responses.
type ConsulHTTPHeaderModifiers struct {
	Add    map[string]string `cbor:"1,keyasint,omitempty"`
	Set    map[string]string `cbor:"2,keyasint,omitempty"`
	Remove []string          `cbor:"3,keyasint,omitempty"`
}

// ConsulTerminatingConfigEntry is the configuration of a terminating gateway.
type ConsulTerminatingConfigEntry struct {
	Services []ConsulLinkedService `cbor:"1,keyasint,omitempty"`
}

// ConsulLinkedService is one service outside the mesh.
type ConsulLinkedService struct {
	Name     string `cbor:"1,keyasint,omitempty"`
	CAFile   string `cbor:"2,keyasint,omitempty"`
	CertFile string `cbor:"3,keyasint,omitempty"`
	KeyFile  string `cbor:"4,keyasint,omitempty"`
	SNI      string `cbor:"5,keyasint,omitempty"`
}

// ConsulMeshConfigEntry marks a mesh gateway; it has no settings.
type ConsulMeshConfigEntry struct{}

// ConsulSidecarService is the proxy registered beside a service.
type ConsulSidecarService struct {
	Tags                   []string          `cbor:"1,keyasint,omitempty"`
	Port                   string            `cbor:"2,keyasint,omitempty"`
	Proxy                  *ConsulProxy      `cbor:"3,keyasint,omitempty"`
	DisableDefaultTCPCheck bool              `cbor:"4,keyasint,omitempty"`
	Meta                   map[string]string `cbor:"5,keyasint,omitempty"`
}

// ConsulProxy configures a sidecar proxy.
type ConsulProxy struct {
	LocalServiceAddress string                  `cbor:"1,keyasint,omitempty"`
	LocalServicePort    int                     `cbor:"2,keyasint,omitempty"`
	Expose              *ConsulExposeConfig     `cbor:"3,keyasint,omitempty"`
	ExposeConfig        *ConsulExposeConfig     `cbor:"4,keyasint,omitempty"` // former name of Expose
	Upstreams           []ConsulUpstream        `cbor:"5,keyasint,omitempty"`
	TransparentProxy    *ConsulTransparentProxy `cbor:"6,keyasint,omitempty"`
	Config              map[string]any          `cbor:"7,keyasint,omitempty"` // for the proxy alone
}

// ConsulExposeConfig lets paths past the mesh.
type ConsulExposeConfig struct {
	Paths []ConsulExposePath `cbor:"1,keyasint,omitempty"`
	Path  []ConsulExposePath `cbor:"2,keyasint,omitempty"` // former name of Paths
}

// ConsulExposePath is one path let past the mesh.
type ConsulExposePath struct {
	Path          string `cbor:"1,keyasint,omitempty"`
	Protocol      string `cbor:"2,keyasint,omitempty"`
	LocalPathPort int    `cbor:"3,keyasint,omitempty"`
	ListenerPort  string `cbor:"4,keyasint,omitempty"`
}

// ConsulUpstream is a service reached through the mesh.
type ConsulUpstream struct {
	DestinationName      string             `cbor:"1,keyasint,omitempty"`
	DestinationNamespace string             `cbor:"2,keyasint,omitempty"`
	DestinationPeer      string             `cbor:"3,keyasint,omitempty"`
	DestinationPartition string             `cbor:"4,keyasint,omitempty"`
	DestinationType      string             `cbor:"5,keyasint,omitempty"`
	LocalBindPort        int                `cbor:"6,keyasint,omitempty"`
	Datacenter           string             `cbor:"7,keyasint,omitempty"`
	LocalBindAddress     string             `cbor:"8,keyasint,omitempty"`
	LocalBindSocketPath  string             `cbor:"9,keyasint,omitempty"`
	LocalBindSocketMode  string             `cbor:"10,keyasint,omitempty"`
	MeshGateway          *ConsulMeshGateway `cbor:"11,keyasint,omitempty"`
	Config               map[string]any     `cbor:"12,keyasint,omitempty"` // for the proxy alone
}

// ConsulMeshGateway says through which gateway an upstream is reached.
type ConsulMeshGateway struct {
	Mode string `cbor:"1,keyasint,omitempty"`
}

// ConsulTransparentProxy sends all of an allocation's traffic through the proxy.
type ConsulTransparentProxy struct {
	UID                  string   `cbor:"1,keyasint,omitempty"`
	OutboundPort         uint16   `cbor:"2,keyasint,omitempty"`
	ExcludeInboundPorts  []string `cbor:"3,keyasint,omitempty"`
	ExcludeOutboundPorts []uint16 `cbor:"4,keyasint,omitempty"`
	ExcludeOutboundCIDRs []string `cbor:"5,keyasint,omitempty"`
	ExcludeUIDs          []string `cbor:"6,keyasint,omitempty"`
	NoDNS                bool     `cbor:"7,keyasint,omitempty"`
}

// SidecarTask changes the task that runs a proxy.
type SidecarTask struct {
	Name          string             `cbor:"1,keyasint,omitempty"`
	Driver        string             `cbor:"2,keyasint,omitempty"`
	User          string             `cbor:"3,keyasint,omitempty"`
	Config        map[string]any     `cbor:"4,keyasint,omitempty"` // for the driver alone
	Env           map[string]string  `cbor:"5,keyasint,omitempty"`
	Resources     *Resources         `cbor:"6,keyasint,omitempty"`
	Meta          map[string]string  `cbor:"7,keyasint,omitempty"`
	KillTimeout   *time.Duration     `cbor:"8,keyasint,omitempty"`
	LogConfig     *LogConfig         `cbor:"9,keyasint,omitempty"`
	ShutdownDelay *time.Duration     `cbor:"10,keyasint,omitempty"`
	KillSignal    string             `cbor:"11,keyasint,omitempty"`
	VolumeMounts  []VolumeMount      `cbor:"12,keyasint,omitempty"`
	Identities    []WorkloadIdentity `cbor:"13,keyasint,omitempty"`
}
