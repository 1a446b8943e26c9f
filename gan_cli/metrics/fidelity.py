"""What the metrics take from torch-fidelity, which imports torchvision when it is imported."""

from gan_cli.metrics.loading import torchvision_needed

with torchvision_needed():
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, BasicConv2d, FeatureExtractorInceptionV3
    from torch_fidelity.metric_fid import fid_features_to_statistics
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

__all__ = [
    "URL_INCEPTION_V3",
    "BasicConv2d",
    "FeatureExtractorBase",
    "FeatureExtractorInceptionV3",
    "fid_features_to_statistics",
    "isc_features_to_metric",
    "kid_features_to_metric",
    "prc_features_to_metric",
]
